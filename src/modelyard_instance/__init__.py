"""Front and worker of one model instance.

``python -m modelyard_instance --dir DIR`` is the **front**: it owns the port, parses HTTP, queues,
watches and replaces the **worker** (``modelyard_instance.worker``), the process that holds the
model. The two speak length-prefixed frames over a Unix socket pair (``frames``). Nothing here
imports ``modelyard``; the worker side needs the standard library only.

A folder ``DIR`` belongs to one instance: ``spec.json`` (in, see ``spec``), ``state.json`` (out, see
``state``), ``lock``, ``work/`` (the worker's current folder).
"""
