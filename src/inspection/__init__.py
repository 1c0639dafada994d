"""Signal and gradient of a network, layer by layer, before its training starts."""
