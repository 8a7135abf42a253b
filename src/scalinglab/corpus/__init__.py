"""From raw text to tokens: sources, cleaning filters, duplicates, tokenizer and packing. No paths of the study here."""
