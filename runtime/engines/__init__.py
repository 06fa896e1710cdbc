"""One file an engine; `braintumor.runtime.registry` names them."""
