"""What speaks with GitHub: reads what people said on pull requests, decides whom to trust, proposes prompts.

The only folder that knows GitHub. `base.Forge` is all that the rest needs of it, so that another forge can take its
place; `githubkit` (the extra `github`) is imported when the first question is asked.
"""
