"""How skills appear with scale, under several metrics of the same answers. Tables in, tables out."""
