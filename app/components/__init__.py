"""The page's own pictures: one file each, a factory for the component and a pure builder for its value."""
