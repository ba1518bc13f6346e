-- An event is a fact: it is written once and never changed. It goes only with what was pruned, and the mark that says how far
-- (state, kind 4, `pruned_after`) is set before. Whoever owns the machine can drop these; `journal verify` and the cloud
-- notice what is done then.
CREATE TRIGGER events_stay BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are facts: they are never changed'); END;
-- A second row at a position would replace the first.
CREATE TRIGGER events_once BEFORE INSERT ON events
WHEN EXISTS (SELECT 1 FROM events WHERE position = NEW.position)
BEGIN SELECT RAISE(ABORT, 'events are facts: they are never replaced'); END;
CREATE TRIGGER events_keep BEFORE DELETE ON events
WHEN OLD.position > coalesce((SELECT one FROM state WHERE kind = 4 AND name = CAST('pruned_after' AS BLOB)), 0)
BEGIN SELECT RAISE(ABORT, 'events are facts: they are deleted only where the journal was pruned'); END;
