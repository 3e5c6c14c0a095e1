"""What is public can be looked up: `help()` finds every name that a signature has."""

import inspect
import pydoc

import pytest

from arraylake_core import backends, errors, models


@pytest.mark.parametrize("module", [backends, errors, models], ids=lambda module: module.__name__)
def test_help_works_on_everything_public(module):
    public = {name: getattr(module, name) for name in module.__all__}
    documented = {name: found for name, found in public.items() if inspect.isclass(found) or inspect.isfunction(found)}
    assert documented
    for name, found in documented.items():
        assert name in pydoc.render_doc(found)
        assert found.__doc__, name
