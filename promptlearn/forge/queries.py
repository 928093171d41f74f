"""The GraphQL that we ask GitHub, and how large a page of it may be.

Knows GitHub's schema, no network. One query reads a page of pull requests with everything that people and checks said
on them. What does not fit into a nested page is asked for by `rest_query`, many rests in one request.

GitHub counts the nodes that a query could return (the product of `first` down each path) and refuses more than 500,000;
it charges a point for each hundred connections; and it ends a query after ten seconds. So nested pages are as long as
most pull requests need, not as long as may be: `PULLS` at once come to 106,200 nodes and 67 points.
https://docs.github.com/en/graphql/overview/rate-limits-and-query-limits-for-the-graphql-api
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

PULLS = 100
"""Pull requests in one request; the API allows no more."""
RESTS = 40
"""Rests of nested pages in one request."""

Connection = Literal["threads", "replies", "reviews", "conversation", "files", "checks", "annotations"]

_REACTED = "reactionGroups { content reactors { totalCount } }"
_PAGE = "totalCount pageInfo { hasNextPage endCursor }"
_STATES = "states: [APPROVED, CHANGES_REQUESTED, COMMENTED, DISMISSED]"
_COST = "rateLimit { cost remaining resetAt }"

_FRAGMENTS = {
    "Who": "on Actor { __typename login ... on Node { id } }",
    "Pull": f"""on PullRequest {{
  id number url title state isDraft isCrossRepository createdAt updatedAt headRefOid headRefName baseRefName
  author {{ ...Who }}
  labels(first: 20) {{ nodes {{ name }} }}
  files(first: 100) @include(if: $files) {{ ...Files }}
  reviewThreads(first: 40) {{ ...Threads }}
  reviews(first: 40, {_STATES}) {{ ...Reviews }}
  comments(first: 40) {{ ...Conversation }}
  commits(last: 1) @include(if: $checks) {{
    nodes {{ commit {{ id statusCheckRollup {{ contexts(first: 20) {{ ...Checks }} }} }} }}
  }}
}}""",
    "Threads": f"""on PullRequestReviewThreadConnection {{
  {_PAGE} nodes {{ id isResolved isOutdated diffSide resolvedBy {{ login }} comments(first: 15) {{ ...Replies }} }}
}}""",
    "Replies": f"on PullRequestReviewCommentConnection {{ {_PAGE} nodes {{ ...Said }} }}",
    "Said": f"""on PullRequestReviewComment {{
  id url state body author {{ ...Who }} authorAssociation createdAt updatedAt lastEditedAt
  path subjectType line startLine originalLine originalStartLine diffHunk
  commit {{ oid }} originalCommit {{ oid }} isMinimized minimizedReason replyTo {{ id }}
  pullRequestReview {{ id state }} {_REACTED}
}}""",
    "Reviews": f"""on PullRequestReviewConnection {{
  {_PAGE}
  nodes {{
    id url state body author {{ ...Who }} authorAssociation submittedAt createdAt updatedAt lastEditedAt
    commit {{ oid }} isMinimized minimizedReason {_REACTED}
  }}
}}""",
    "Conversation": f"""on IssueCommentConnection {{
  {_PAGE}
  nodes {{
    id url body author {{ ...Who }} authorAssociation createdAt updatedAt lastEditedAt
    isMinimized minimizedReason {_REACTED}
  }}
}}""",
    "Files": f"on PullRequestChangedFileConnection {{ {_PAGE} nodes {{ path }} }}",
    "Checks": f"""on StatusCheckRollupContextConnection {{
  {_PAGE}
  nodes {{
    __typename
    ... on CheckRun {{
      id name conclusion url title summary startedAt completedAt checkSuite {{ app {{ id slug }} }}
      annotations(first: 10) {{ ...Annotations }}
    }}
    ... on StatusContext {{ id context state description targetUrl createdAt creator {{ ...Who }} }}
  }}
}}""",
    "Annotations": f"""on CheckAnnotationConnection {{
  {_PAGE} nodes {{ path location {{ start {{ line }} }} annotationLevel title message }}
}}""",
}


def _complete(query: str) -> str:
    """The query with the fragments that it uses, and no other: GitHub refuses those."""
    wanted = re.findall(r"\.\.\.([A-Z]\w*)", query)
    for name in wanted:
        wanted += [used for used in re.findall(r"\.\.\.([A-Z]\w*)", _FRAGMENTS[name]) if used not in wanted]
    return "\n".join([query, *(f"fragment {name} {_FRAGMENTS[name]}" for name in dict.fromkeys(wanted))])


PAGE_QUERY = _complete(
    f"""query PullRequests(
  $owner: String!, $name: String!, $first: Int!, $after: String, $labels: [String!], $files: Boolean!, $checks: Boolean!
) {{
  {_COST}
  repository(owner: $owner, name: $name) {{
    nameWithOwner
    pullRequests(first: $first, after: $after, labels: $labels, orderBy: {{field: UPDATED_AT, direction: DESC}}) {{
      {_PAGE} nodes {{ ...Pull }}
    }}
  }}
}}"""
)
"""The pull requests of a repository, the newest update first."""


def numbers_query(numbers: Sequence[int]) -> str:
    """Certain pull requests of a repository, as fields `p12`, `p13`, …"""
    fields = "\n".join(f"    p{number}: pullRequest(number: {number}) {{ ...Pull }}" for number in numbers)
    return _complete(
        f"""query SomePullRequests($owner: String!, $name: String!, $files: Boolean!, $checks: Boolean!) {{
  {_COST}
  repository(owner: $owner, name: $name) {{
    nameWithOwner
{fields}
  }}
}}"""
    )


@dataclass(frozen=True, slots=True)
class Rest:
    """What of a connection did not fit into the page: whose it is, and from where on."""

    connection: Connection
    node: str
    """Id of the pull request, thread, commit or check run that has the connection."""
    after: str


_OF_REST: dict[Connection, str] = {
    "threads": "... on PullRequest { page: reviewThreads(first: 40, after: %s) { ...Threads } }",
    "replies": "... on PullRequestReviewThread { page: comments(first: 100, after: %s) { ...Replies } }",
    "reviews": f"... on PullRequest {{ page: reviews(first: 100, after: %s, {_STATES}) {{ ...Reviews }} }}",
    "conversation": "... on PullRequest { page: comments(first: 100, after: %s) { ...Conversation } }",
    "files": "... on PullRequest { page: files(first: 100, after: %s) { ...Files } }",
    "checks": "... on Commit { statusCheckRollup { page: contexts(first: 50, after: %s) { ...Checks } } }",
    "annotations": "... on CheckRun { page: annotations(first: 100, after: %s) { ...Annotations } }",
}


def rest_query(rests: Sequence[Rest]) -> str:
    """The next page of each, as fields `r0`, `r1`, …, in each of which the connection is called `page`."""
    fields = "\n".join(
        f"  r{index}: node(id: {json.dumps(rest.node)}) {{ {_OF_REST[rest.connection] % json.dumps(rest.after)} }}"
        for index, rest in enumerate(rests)
    )
    return _complete(f"query Rests {{\n  {_COST}\n{fields}\n}}")
