"""Questions answered yes, no or maybe, as PubMedQA's."""
