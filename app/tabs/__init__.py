"""The parts of the page. Each has `build(page)`, which makes its components and declares what they show."""
