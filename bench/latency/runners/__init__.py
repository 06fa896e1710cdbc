"""What speed and answers are compared with: one file a peer, each optional; `registry` names them."""
