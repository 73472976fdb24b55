"""What the page says when its server is gone: that, and how to start it again, instead of Streamlit's guess.

Streamlit asks "Are you connected to the internet?" of a server that runs on the reader's own machine. Its dialog
belongs to the page's own script, so a small one beside it changes the words as they appear. The page reconnects by
itself.
"""

from __future__ import annotations

import shlex

import streamlit as st

_JS = """
export default function ({ data }) {
  const change = () => {
    const dialogs = document.querySelectorAll("[role=dialog]");
    for (const dialog of dialogs) {
      const walker = document.createTreeWalker(dialog, NodeFilter.SHOW_TEXT);
      while (walker.nextNode()) {
        if (/Are you connected to the internet|Is Streamlit still running/.test(walker.currentNode.nodeValue)) {
          walker.currentNode.nodeValue = data.words;
        } else if (walker.currentNode.nodeValue === "streamlit run yourscript.py") {
          walker.currentNode.nodeValue = data.command;
        }
      }
    }
  };
  const observer = new MutationObserver(change);
  observer.observe(document.body, { childList: true, subtree: true, characterData: true });
  return () => observer.disconnect();
}
"""

_watch = st.components.v2.component("simko.lost_server", js=_JS, isolate_styles=False)


def watch_server(folder: str) -> None:
    """Put the right words where Streamlit says that it has lost its server."""
    command = f"simko dashboard {shlex.quote(folder)}"
    words = (
        "The dashboard's server is gone: it was stopped, or its machine is out of reach. What you see is as it was "
        f"then. Start it again with: {command}. This page goes on by itself once it answers at the same address."
    )
    _watch(key="lost-server", data={"words": words, "command": command})
