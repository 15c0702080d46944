"""The page's panels, one a file: `layout(reader)` is what stands there, `register(app, shelf)` what it does."""
