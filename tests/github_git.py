"""The git side of a repository, for `github_server`: blobs, trees, commits and branches, kept in memory.

    git = Git()
    git.commit({"prompts/support.md": b"Be helpful."}, "first")     # on main
    git.file("prompts/support.md", "main")                          # b"Be helpful."

A blob's id is what git says; trees and commits have ids of the same shape.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Commit:
    sha: str
    message: str
    tree: str
    parents: tuple[str, ...]


def blob_sha(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass
class Git:
    blobs: dict[str, bytes] = field(default_factory=dict)
    trees: dict[str, dict[str, str]] = field(default_factory=dict)
    """Id → every path below it → blob."""
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def blob(self, data: bytes) -> str:
        sha = blob_sha(data)
        self.blobs[sha] = data
        return sha

    def tree(self, files: Mapping[str, str]) -> str:
        sha = _sha("tree", sorted(files.items()))
        self.trees[sha] = dict(files)
        return sha

    def add_commit(self, tree: str, message: str, parents: tuple[str, ...]) -> Commit:
        sha = _sha("commit", [tree, message, parents, len(self.commits)])
        self.commits[sha] = Commit(sha, message, tree, parents)
        return self.commits[sha]

    def commit(self, files: Mapping[str, bytes | None], message: str = "change", branch: str = "main") -> Commit:
        """Write (or with None remove) files on a branch, as somebody would with git."""
        tip = self.branches.get(branch)
        tree = dict(self.trees[self.commits[tip].tree]) if tip else {}
        for path, data in files.items():
            if data is None:
                tree.pop(path, None)
            else:
                tree[path] = self.blob(data)
        made = self.add_commit(self.tree(tree), message, (tip,) if tip else ())
        self.branches[branch] = made.sha
        return made

    def resolve(self, ref: str) -> Commit | None:
        """The commit that a branch, `refs/heads/…` or an id names."""
        name = ref.removeprefix("refs/").removeprefix("heads/")
        return self.commits.get(self.branches.get(name, ref))

    def files(self, ref: str) -> dict[str, str]:
        """Path → blob."""
        found = self.resolve(ref)
        return dict(self.trees[found.tree]) if found else {}

    def file(self, path: str, ref: str = "main") -> bytes | None:
        sha = self.files(ref).get(path)
        return None if sha is None else self.blobs[sha]

    def log(self, ref: str, path: str = "") -> list[Commit]:
        """From a ref back, along first parents; with a path, the commits that changed it."""
        found, at = [], self.resolve(ref)
        while at is not None:
            parent = self.commits[at.parents[0]] if at.parents else None
            before = self.trees[parent.tree] if parent else {}
            if not path or self.trees[at.tree].get(path) != before.get(path):
                found.append(at)
            at = parent
        return found

    def is_ancestor(self, old: str, new: str) -> bool:
        left = [new]
        while left:
            sha = left.pop()
            if sha == old:
                return True
            left += self.commits[sha].parents if sha in self.commits else ()
        return False


def _sha(kind: str, value: object) -> str:
    return hashlib.sha1(f"{kind} {json.dumps(value)}".encode()).hexdigest()
