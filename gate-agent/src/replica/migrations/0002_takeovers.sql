-- What is given back is counted in the row of the event that counted it, with both numbers 1, whichever event says so.
DROP INDEX taken_back;
UPDATE movements SET entries = 1, exits = 1
WHERE of = position AND EXISTS (
    SELECT 1 FROM movements AS back WHERE back.of = movements.position AND back.of <> back.position AND back.zone = movements.zone
);
DELETE FROM movements WHERE of <> position;
ALTER TABLE movements DROP COLUMN of;
