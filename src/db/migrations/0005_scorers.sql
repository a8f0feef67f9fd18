-- What is needed to score a customer by a fit as it did: JSON; empty when the fit was refused, and in fits of earlier versions.
ALTER TABLE model_fit ADD COLUMN scorer TEXT NOT NULL DEFAULT '';
