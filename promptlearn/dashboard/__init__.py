"""Serves the dashboard: the pages in `app/` behind a gate, on this machine unless somebody says otherwise.

    serve(Settings(store=".promptlearn/store.db"))

`gate` knows who may ask, `server` how the pages are served, `webhooks` lets GitHub's deliveries in, and `commands`
runs what a person asks for as a process of its own. What the pages show comes from `promptlearn.report`.
"""
