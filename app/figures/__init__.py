"""Single charts, one function each: numbers and translated labels in, a Plotly figure out."""
