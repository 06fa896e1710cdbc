"""What people use instead of this toolkit: each peer answers the same images, plainly used."""
