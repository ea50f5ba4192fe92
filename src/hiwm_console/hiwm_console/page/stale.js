// No tick waits for a view: one without a picture for this long must not look alive.
export const STALE_MS = 2000;
