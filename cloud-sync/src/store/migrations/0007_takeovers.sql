-- What is given back is counted in the row of the event that counted it, with both numbers 1, whichever event says so (the
-- rebuild below writes it so).
ALTER TABLE passages DROP COLUMN of_epoch;
ALTER TABLE passages DROP COLUMN of_seq;
-- An admission that makes up for an earlier one counts itself.
ALTER TABLE openings DROP COLUMN reopens;
ALTER TABLE openings DROP COLUMN completed;
-- Numbers are made anew from the events once.
INSERT INTO settings (name, value) SELECT 'rebuild', 'needed'
WHERE EXISTS (SELECT 1 FROM events) AND NOT EXISTS (SELECT 1 FROM settings WHERE name = 'rebuild');
