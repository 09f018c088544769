"""Networks, cases and oracles that tests share."""
