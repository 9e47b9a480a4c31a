"""Parts of the PDF loader: reading a page, its tables, figures, paragraphs and their order.

`content` reads what PyMuPDF knows about a page into the displayed, upright frame; `tables`, `figures` and `blocks`
find structure in it; `order` puts the parts in reading order; `ocr`, `layout` and `render` are called on demand.
"""
