-- An exit counts when it is made, no longer when it is authorised: numbers are made anew from the events once.
INSERT INTO settings (name, value) SELECT 'rebuild', 'needed'
WHERE EXISTS (SELECT 1 FROM events) AND NOT EXISTS (SELECT 1 FROM settings WHERE name = 'rebuild');
