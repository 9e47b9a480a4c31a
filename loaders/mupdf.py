"""Importing PyMuPDF without the half of it that no loader needs."""

import sys
import threading
from types import ModuleType

# PyMuPDF 2.0 imports both at its own import, with onnxruntime: 0.5 s and more than 100 MB for the layout model.
# `Page.to_markdown` and its kin are not there in a process in which this import was the first.
_HEAVY = ("pymupdf.layout", "pymupdf4llm")
_importing = threading.Lock()


def import_pymupdf() -> ModuleType:
    """PyMuPDF without its layout model and with a silent console.

    `loaders._pdf.layout` imports the model when a page needs it. MuPDF writes warnings about damaged files to
    stdout, where the command line prints JSON.
    """
    with _importing:
        if "pymupdf" not in sys.modules:
            hidden = [name for name in _HEAVY if name not in sys.modules]
            for name in hidden:
                sys.modules[name] = None  # type: ignore[assignment]  # fails to import, which PyMuPDF provides for
            try:
                import pymupdf
            finally:
                for name in hidden:
                    del sys.modules[name]
    import pymupdf

    pymupdf.TOOLS.mupdf_display_errors(False)
    pymupdf.TOOLS.mupdf_display_warnings(False)
    module: ModuleType = pymupdf
    return module
