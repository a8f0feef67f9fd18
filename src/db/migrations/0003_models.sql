-- Fitted models.

-- One row for each time models were fitted; written when all scores of it are.
CREATE TABLE model_fit (
  fit_id TEXT NOT NULL PRIMARY KEY,
  fitted_at BIGINT NOT NULL,
  card TEXT NOT NULL          -- JSON: the models, their parameters, what they would have predicted
);
