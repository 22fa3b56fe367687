"""Requests with instructions whose following can be verified, as IFEval's."""
