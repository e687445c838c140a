"""The start of a Python child of a program on the virtual GPU; see this folder's `__init__`.

Python imports this by its name in every child, so it does little: it waits for torch, and it runs the module of the
same name that it hides.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))


class _AfterTorch(importlib.abc.MetaPathFinder):
    """Makes the virtual GPU as soon as torch has been imported."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("torch")
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_inherit(module):
            execute(module)
            if importlib.util.find_spec("gpu_model") is None:
                sys.path.append(os.path.dirname(os.path.dirname(_HERE)))
            from gpu_model.child_processes import inherit

            inherit()

        spec.loader.exec_module = execute_and_inherit  # type: ignore[method-assign]
        return spec


def _run_hidden():
    elsewhere = [folder for folder in sys.path if os.path.abspath(folder) != _HERE]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", elsewhere)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


sys.meta_path.insert(0, _AfterTorch())
_run_hidden()
