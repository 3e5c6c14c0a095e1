async def ensure_public(url: str, allow: tuple[str, ...], *, what: str = "url", http: bool = False) -> None:
    """TEMPORARY: helper EVENTS writes this module."""
