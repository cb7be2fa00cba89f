"""Heat maps: which parts of an image the model finds improbable."""
