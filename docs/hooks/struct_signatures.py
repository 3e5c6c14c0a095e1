"""What msgspec's Structs and NamedTuples take when they are made, for mkdocstrings: Griffe sees the fields, and not the method that is made of them."""

from typing import Any

from griffe import Attribute, Class, Expr, Extension, Function, Parameter, ParameterKind, Parameters

_BASES = ("Struct", "NamedTuple")


class StructSignatures(Extension):
    """Gives each such class an ``__init__`` with its fields."""

    def on_class_members(self, *, cls: Class, **_: Any) -> None:
        """Add the method, where the class has none."""
        bases = [str(base).partition("[")[0].rpartition(".")[2] for base in cls.bases]
        if "__init__" in cls.members or not any(base in _BASES for base in bases):
            return
        named = str(cls.keywords.get("kw_only", "")) == "True" if hasattr(cls, "keywords") else False
        kind = ParameterKind.keyword_only if named else ParameterKind.positional_or_keyword
        fields = [
            Parameter(name, annotation=member.annotation, kind=kind, default=_default(member.value))
            for name, member in cls.members.items()
            if isinstance(member, Attribute)
            and "property" not in member.labels
            and member.annotation is not None
            and "ClassVar" not in str(member.annotation)
        ]
        method = Function(
            "__init__", parameters=Parameters(Parameter("self"), *fields), parent=cls, lineno=cls.lineno, endlineno=cls.endlineno
        )
        cls.set_member("__init__", method)


def _default(value: str | Expr | None) -> str | Expr | None:
    return "..." if value is not None and "field(" in str(value) else value
