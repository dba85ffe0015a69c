# How Sphinx makes the site of `make docs`: Markdown as GitHub reads it (MyST), in the theme Furo.
import os
import re

from pygments.lexers.special import TextLexer

project = "Sockeye"
html_title = "Sockeye"
extensions = ["myst_parser"]
html_theme = "furo"
root_doc = "README"
# The suite is the work of others.
exclude_patterns = ["conf.py", "native/json/*"]
html_copy_source = False
html_show_sphinx = False
myst_heading_anchors = 6
myst_enable_extensions = ["tasklist"]
# Examples that leave something out are shown without colours.
suppress_warnings = ["misc.highlighting_failure"]

# Name and pages of each part: names of files, those that stand there first.
PARTS = [
    ("Guide", ["erlang/guide/tutorial", "erlang/guide/handler", "erlang/guide/functions", "erlang/guide/options", "erlang/guide/*"]),
    ("In production", ["erlang/guide/production/README", "erlang/guide/production/*"]),
    ("Modules", ["api/sockeye", "api/*"]),
    ("Examples", ["examples/*/README"]),
    ("Numbers", ["bench/README", "bench/NUMBERS", "bench/*"]),
    ("How it works", ["ARCHITECTURE", "docs/where", "docs/link", "docs/decisions/README", "docs/decisions/*"]),
    ("Project", ["SECURITY", "CONTRIBUTING", "CHANGELOG", "test/README", "native/sim/README", "native/fuzz/README"]),
]


def contents():
    for name, pages in PARTS:
        yield "\n```{toctree}\n:hidden:\n:glob:\n:caption: %s\n\n%s\n```\n" % (name, "\n".join("/" + page for page in pages))


# What stands behind the language is for our tests. A file or folder that is no page of the site is named, not linked:
# sockeye_guide_tests knows that it is there.
def source_read(app, page, source):
    text = re.sub(r"^```(\w+) .*$", r"```\1", source[0], flags=re.M)
    text = re.sub(r"^```erlang\n(?=\d+> )", "```erl\n", text, flags=re.M)
    folder = os.path.dirname(page)

    def link(match):
        words, target = match.groups()
        file = os.path.normpath(os.path.join(folder, target.split("#")[0]))
        is_here = "://" in target or target.startswith("#") or os.path.isfile(os.path.join(app.srcdir, file))
        return match.group(0) if is_here else words

    source[0] = re.sub(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)", link, text)
    if page == root_doc:
        source[0] += "".join(contents())


def setup(app):
    for name in ["haproxy", "caddyfile"]:
        app.add_lexer(name, TextLexer)
    app.connect("source-read", source_read)
