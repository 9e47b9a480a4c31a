"""Private parts of the slides loader: package check, shapes, tables, charts, SmartArt, pictures, rendering."""
