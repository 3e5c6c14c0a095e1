"""Print the public methods of the clients named ``arraylake``, with their parameters; run by the Python that has the official one."""

import inspect
import json

from arraylake import AsyncClient, Client

found = {}
for client in (AsyncClient, Client):
    names = [name for name in dir(client) if (name == "__init__" or not name.startswith("_")) and callable(getattr(client, name))]
    found[client.__name__] = {
        name: [
            (each.name, each.kind.name, each.default is not each.empty)
            for each in list(inspect.signature(getattr(client, name)).parameters.values())[1:]
        ]
        for name in names
    }
print(json.dumps(found))
