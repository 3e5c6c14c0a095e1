"""Exchanging one credential for another, at the token endpoints of the clouds: what auth methods of more than one plugin need."""
