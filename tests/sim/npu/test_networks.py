"""Networks' products against published counts, and the command."""

import json

import pytest
import torch
from torch.nn import functional as F
from typer.testing import CliRunner

from sim.cli import app
from sim.npu.networks import resnet18, training, vit_base


def test_products_of_an_image():
    """torchvision's tables: ResNet-18 1.81 G multiplications, 11.7 M weights; ViT-B/16 17.56 G."""
    assert sum(work.products for work in resnet18(1)) == pytest.approx(1.814e9, rel=0.002)
    assert sum(work.n * work.k for work in resnet18(1)) == pytest.approx(11.69e6, rel=0.002)
    assert sum(work.products for work in vit_base(1)) == pytest.approx(17.56e9, rel=0.003)


def test_sizes_follow_the_convolutions():
    """The network's shapes as torch's own convolutions give them."""
    x = torch.zeros(1, 3, 224, 224)
    x = F.conv2d(x, torch.zeros(64, 3, 7, 7), stride=2, padding=3)
    by_name = {work.name: work for work in resnet18(1)}
    assert by_name["conv1"].m == x[0, 0].numel()
    x = F.max_pool2d(x, 3, stride=2, padding=1)
    assert by_name["conv2_1a"].m == x[0, 0].numel()
    x = F.conv2d(x, torch.zeros(128, 64, 3, 3), stride=2, padding=1)
    assert (by_name["conv3_1a"].m, by_name["conv3_1a"].k) == (x[0, 0].numel(), 64 * 9)
    assert by_name["conv3_1 shortcut"].m == x[0, 0].numel()


def test_training_has_three_products_for_one():
    """But for the first layer, whose input needs no gradient."""
    forward = vit_base(2)
    total = sum(work.products for work in training(forward))
    assert total == 3 * sum(work.products for work in forward) - forward[0].products


def test_the_command_tells_layers_and_the_sum():
    result = CliRunner().invoke(app, ["npu", "vit_base", "--format", "MXFP4", "--batch", "2", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["cycles"] == sum(layer["cycles"] for layer in told["layers"])
    assert 0.9 < told["utilisation"] < 1
    shown = CliRunner().invoke(app, ["npu", "resnet18", "--batch", "1"]).stdout
    assert "conv5_2b" in shown
    assert "of 64 GOPS" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["alexnet"], "network 'alexnet' is not known; there are resnet18, vit_base"),
        (["resnet18", "--format", "FP99"], "format 'FP99' is not known; there are MXFP8_E5M2"),
    ],
)
def test_unknown_names_are_told(arguments, message):
    result = CliRunner().invoke(app, ["npu", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr
