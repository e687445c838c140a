"""Discharges the claims of `rtl.prove.stages` one by one; where one fails, looks for an input that shows it."""

# z3 annotates its operators as returning anything it has.
# pyright: reportArgumentType=false, reportReturnType=false, reportOperatorIssue=false, reportCallIssue=false
# pyright: reportAttributeAccessIssue=false

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import z3

from rtl.mac import MacDesign, Tree
from rtl.prove import float_add_rule, float_add_stages, long_integer_rule, long_integer_stages, stages
from rtl.prove import specification as rule
from rtl.prove.stages import Claim, Cut
from rtl.tools import ToolError

CLAIM_SECONDS = 600
SEARCH_SECONDS = 120  # for an input of the whole MAC that shows a failed claim
LOGIC = "QF_UFBV"

_PRODUCT_SUM = (
    stages.products,
    stages.largest_exponent,
    stages.lanes,
    stages.product_sum,
    stages.exponents,
    stages.specials,
)
_OF_ONE_FORMAT = {
    Tree.HYBRID: _PRODUCT_SUM,
    Tree.FP32_ADDITION: _PRODUCT_SUM,
    Tree.LONG_INTEGER: (stages.products, long_integer_stages.words, stages.specials),
}
_OF_ALL_FORMATS = {
    Tree.HYBRID: (stages.distance, stages.aligned_sum, stages.normalised_sum, stages.result),
    Tree.FP32_ADDITION: (
        float_add_stages.normalised_product,
        float_add_stages.exponents_of_the_sum,
        float_add_stages.floating_point_sum,
        float_add_stages.normalised_sum,
        float_add_stages.result,
    ),
    Tree.LONG_INTEGER: (
        long_integer_stages.product_word,
        long_integer_stages.scales,
        long_integer_stages.exact_sum,
        long_integer_stages.rounded_sum,
        long_integer_stages.result,
    ),
}
_RULES = {
    Tree.HYBRID: rule.mac_step,
    Tree.FP32_ADDITION: float_add_rule.mac_step,
    Tree.LONG_INTEGER: long_integer_rule.mac_step,
}


@dataclass(frozen=True)
class Theorem:
    """Claims about one stage.

    Attributes:
        stage: such as "product sum".
        element: name of the format it is about; None: of all.
        claims: makes them.
    """

    stage: str
    element: str | None
    claims: Callable[[], Iterator[Claim]]


@dataclass(frozen=True)
class Input:
    """An input of the whole MAC for which the RTL is wrong: port values and the two patterns."""

    element: str
    ports: dict[str, int]
    expected: int
    got: int

    def __str__(self) -> str:
        ports = " ".join(f"{name}={value:#x}" for name, value in self.ports.items())
        return f"{self.element}: {ports}: expected {self.expected:#x}, RTL gives {self.got:#x}"


@dataclass(frozen=True)
class Failure:
    """A claim that does not hold.

    Attributes:
        claim: its name.
        nets: values of the nets it is about in a state where it fails.
        input: an input of the whole MAC whose result is wrong; None if none was found within the time.
    """

    claim: str
    nets: dict[str, int]
    input: Input | None


@dataclass(frozen=True)
class Verdict:
    """What became of a theorem: how many claims were proven, and the first that failed."""

    theorem: Theorem
    proven: int
    failure: Failure | None


def theorems(design: MacDesign, elements: tuple[str, ...] | None = None) -> list[Theorem]:
    """All that must hold for the MAC to equal its tree's rule in the named modes (all if None), in order."""
    made, of_one = [], _OF_ONE_FORMAT[design.tree]
    for name in elements or design.names:
        spec = design.spec(name)
        made += [Theorem(_title(stage), name, lambda f=stage, s=spec: f(design, s)) for stage in of_one]
    return made + [Theorem(_title(stage), None, lambda f=stage: f(design)) for stage in _OF_ALL_FORMATS[design.tree]]


def prove(design: MacDesign, theorem: Theorem) -> Verdict:
    """Prove a theorem's claims until one fails.

    Raises:
        ToolError: the solver could not decide a claim in ten minutes.
    """
    proven = 0
    for claim in theorem.claims():
        model = _counterexample([*claim.given, z3.Not(claim.goal)], CLAIM_SECONDS)
        if model == z3.unknown:
            raise ToolError(f"{theorem.stage}: z3 could not decide {claim.name!r} in {CLAIM_SECONDS} s")
        if model is not None:
            nets = {path: _value(model, term) for path, term in claim.nets.items()}
            return Verdict(theorem, proven, Failure(claim.name, nets, _search(design, theorem, nets)))
        proven += 1
    return Verdict(theorem, proven, None)


def _search(design: MacDesign, theorem: Theorem, nets: dict[str, int]) -> Input | None:
    """An input for which the RTL differs from the rule, in the theorem's format or in any."""
    names = [theorem.element] if theorem.element else sorted(design.names, key=lambda name: design.spec(name).lanes)
    # The state in which the claim fails may be out of reach; near it, at the same distance, a solver is fast.
    for pinned in (tuple(path for path in nets if "." in path), (stages.DISTANCE,), ()):
        for name in names:
            hint = {path: nets[path] for path in pinned if path in nets}
            found = _search_mode(design, name, hint, SEARCH_SECONDS // (3 * len(names)))
            if found is not None:
                return found
    return None


def _search_mode(design: MacDesign, name: str, hint: dict[str, int], seconds: int) -> Input | None:
    spec, net = design.spec(name), Cut(design, design.mode(name)).net
    a, b = stages.codes(spec, net("a")), stages.codes(spec, net("b"))
    expected = _RULES[design.tree](spec, a, b, net("xa"), net("xb"), net("acc"))
    wrong = [net("mode") == design.mode(name), net("result") != expected]
    model = _counterexample([*wrong, *(net(path) == value for path, value in hint.items())], seconds)
    if model is None or model == z3.unknown:
        return None
    ports = {port: _value(model, net(port)) for port in ("mode", "a", "b", "xa", "xb", "acc")}
    return Input(name, ports, _value(model, expected), _value(model, net("result")))


def _counterexample(conditions: list[z3.BoolRef], seconds: int) -> "z3.ModelRef | z3.CheckSatResult | None":
    """A model of the conditions; None if there is none; `z3.unknown` if time ran out."""
    solver = z3.SolverFor(LOGIC)
    solver.set("timeout", seconds * 1000)
    solver.add(*conditions)
    answer = solver.check()
    if answer == z3.sat:
        return solver.model()
    return None if answer == z3.unsat else z3.unknown


def _value(model: "z3.ModelRef", term: z3.BitVecRef) -> int:
    return model.eval(term, model_completion=True).as_long()


def _title(stage: Callable) -> str:
    return stage.__name__.replace("_", " ")
