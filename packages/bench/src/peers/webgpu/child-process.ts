// The parent's handle on one child: requests, answers, and what it printed last if it dies.

import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { CandidateName, Replies, Reply, Request } from './protocol.ts';

const script = fileURLToPath(new URL(`./child${extname(import.meta.url)}`, import.meta.url));
/** Shader compilers of software adapters take half a minute for one kernel. */
const patienceMs = 600_000;

export class Child {
  readonly name: CandidateName;
  readonly #process: ChildProcess;
  #printed = '';

  constructor(name: CandidateName) {
    this.name = name;
    // 'advanced' carries typed arrays. Peers greet and warn on both streams: only the last words count.
    this.#process = fork(script, [name], {
      serialization: 'advanced',
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    for (const stream of [this.#process.stdout!, this.#process.stderr!]) {
      stream.on(
        'data',
        (chunk: Buffer) => (this.#printed = `${this.#printed}${chunk.toString()}`.slice(-2000)),
      );
    }
  }

  /** One request at a time. @throws Error with the child's message, or its last words when it ended. */
  ask<K extends Request['kind']>(request: Request & { kind: K }): Promise<Replies[K]> {
    const child = this.#process;
    return new Promise((resolve, reject) => {
      const settle = (act: () => void): void => {
        clearTimeout(timer);
        child.off('message', onMessage).off('exit', onExit);
        act();
      };
      const fail = (what: string): void => reject(new Error(`${this.name}: ${request.kind}: ${what}`));
      const onMessage = (reply: Reply): void =>
        settle(() => ('ok' in reply ? resolve(reply.ok as Replies[K]) : fail(reply.error)));
      const onExit = (code: number | null, signal: string | null): void =>
        settle(() => fail(`its process ended (${signal ?? code}); it printed:\n${this.#printed}`));
      const timer = setTimeout(() => {
        settle(() => fail(`no answer in ${patienceMs / 1000} s; it printed:\n${this.#printed}`));
        this.kill();
      }, patienceMs);
      child.on('message', onMessage).on('exit', onExit);
      if (child.exitCode !== null || child.signalCode !== null) onExit(child.exitCode, child.signalCode);
      else child.send(request);
    });
  }

  kill(): void {
    this.#process.kill('SIGKILL');
  }
}
