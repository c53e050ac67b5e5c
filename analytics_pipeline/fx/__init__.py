"""Rates of exchange: where they come from, what one is, how they enter ``analytics_fx_rates``.

Belongs here: reading, judging and storing rates. Does not belong here: converting amounts, which is SQL
(``sql/functions/fx.sql``), and judging whether the rates suffice (``health``).
"""
