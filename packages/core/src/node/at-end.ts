// Work for the end of a process that ends early: remove a temporary file, report an unfinished download.
// Signal handlers are installed only while there is such work, so that a program's own handling is not changed.

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

const actions = new Set<() => void>();

function runAll(): void {
  for (const action of actions) {
    try {
      action();
    } catch {
      // The process ends: there is nobody to tell, and the other actions still count.
    }
  }
  actions.clear();
}

/** Does the work and dies of the signal. A program that listens itself decides instead: it goes on, or exits. */
function onSignal(signal: NodeJS.Signals): void {
  if (process.listenerCount(signal) > 1) return;
  runAll();
  listen(false);
  process.kill(process.pid, signal);
}

function listen(on: boolean): void {
  const change = on ? 'on' : 'removeListener';
  process[change]('exit', runAll);
  for (const signal of signals) process[change](signal, onSignal);
}

/** `action` runs when the process exits or a signal ends it; the returned function takes it back. */
export function atEnd(action: () => void): () => void {
  const own = (): void => action();
  if (actions.size === 0) listen(true);
  actions.add(own);
  return () => {
    if (actions.delete(own) && actions.size === 0) listen(false);
  };
}
