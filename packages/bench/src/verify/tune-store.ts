// Tuning results that pass from stage to stage. Saves are asked for while others are under way (a winner at once, all of
// them at the end), and each writes the same file: here they take turns.

import type { TuneStore } from '@darkroom/core';
import { fileTuneStore } from '@darkroom/core/node';

export function tuneStoreIn(folder: string): TuneStore {
  const files = fileTuneStore(folder);
  let last: Promise<void> = Promise.resolve();
  return {
    load: (fingerprint) => files.load(fingerprint),
    save: (fingerprint, winners) => {
      const copy = { ...winners };
      const turn = last.catch(() => {}).then(() => files.save(fingerprint, copy));
      last = turn;
      return turn;
    },
  };
}
