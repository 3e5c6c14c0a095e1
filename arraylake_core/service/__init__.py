"""The service: one catalog for a company, over HTTP, which the official client speaks to as well.

``app.py`` makes the aiohttp application, ``table.py`` says what a route is, and ``routes/`` holds them all.
"""
