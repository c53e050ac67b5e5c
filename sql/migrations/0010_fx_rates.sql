-- One unit of base costs rate units of quote on that day (UTC).
CREATE TABLE IF NOT EXISTS analytics_fx_rates (
    rate_date date        NOT NULL,
    base      text        NOT NULL,
    quote     text        NOT NULL,
    rate      numeric     NOT NULL,
    source    text        NOT NULL,
    loaded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (base, quote, rate_date),
    CONSTRAINT analytics_fx_rates_rate_is_positive CHECK (rate > 0 AND rate < 'Infinity'::numeric),
    CONSTRAINT analytics_fx_rates_two_currencies CHECK (base <> quote)
);

CREATE INDEX IF NOT EXISTS analytics_fx_rates_quote_idx ON analytics_fx_rates (quote, base, rate_date);

COMMENT ON TABLE analytics_fx_rates IS
    'Rates of exchange: one unit of base costs rate units of quote on rate_date.';
