"""One file an engine; `braintumor.runtime.engines.registry` names them."""
