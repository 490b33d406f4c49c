// Launches of a plan as commands that are made once: bind groups on the plan's buffers, all parameters in one buffer of
// their own. WebGPU has no bundles of compute commands, so each run still encodes them, but nothing else. They are made
// anew when scratch memory has moved.

import type { CompiledLaunches } from '@darkroom/core/backend';
import { Encoder } from './encoder.ts';
import { bindGroup } from './groups.ts';
import type { Window } from './groups.ts';
import type { GpuMemory } from './memory.ts';
import type { Program } from './programs.ts';

/** Receives the commands of a launch: the pending batch, or a recording. */
export interface CommandSink {
  /** Whole words. */
  copy(src: GpuMemory, from: number, dst: GpuMemory, to: number, bytes: number): void;
  /** `fill` writes `words` parameters from word `at` on. */
  dispatch(
    program: Program,
    windows: readonly Window[],
    size: { readonly x: number; readonly y: number },
    words: number,
    fill: (words: Uint32Array, at: number) => void,
  ): void;
}

export interface RecordedLaunchesHost {
  readonly device: GPUDevice;
  readonly encoder: Encoder;
  /** Number of launches. */
  readonly launches: number;
  readonly flops: (launch: number) => number;
  readonly lower: (launch: number, sink: CommandSink) => void;
  readonly pipeline: (program: Program) => GPUComputePipeline;
  /** Changes whenever memory that kernels share beside their arguments has moved. */
  readonly scratch: () => number;
  /** Called before commands are encoded. */
  readonly begin: () => void;
}

type Command = (encoder: Encoder) => void;

interface Recording {
  /** By launch. */
  readonly commands: readonly (readonly Command[])[];
  readonly memories: ReadonlySet<GpuMemory>;
  readonly parameters: GPUBuffer;
  readonly scratch: number;
}

export class RecordedLaunches implements CompiledLaunches {
  readonly #host: RecordedLaunchesHost;
  #recording: Recording | undefined;

  constructor(host: RecordedLaunchesHost) {
    this.#host = host;
  }

  run(): void {
    const { encoder, flops, scratch, begin } = this.#host;
    begin();
    // Recording may itself move scratch memory, which only grows: the second one stands.
    while (this.#recording?.scratch !== scratch()) {
      this.#release();
      this.#recording = this.#record(scratch());
    }
    const { commands, memories } = this.#recording;
    let batch: number | undefined;
    for (const [i, list] of commands.entries()) {
      encoder.account(flops(i)); // may submit, and so begin another batch
      if (batch !== encoder.serial) {
        for (const memory of memories) encoder.touch(memory);
        batch = encoder.serial;
      }
      for (const command of list) command(encoder);
    }
  }

  #record(scratch: number): Recording {
    const { device, launches, lower, pipeline } = this.#host;
    const parts: { at: number; fill: (words: Uint32Array, at: number) => void }[] = [];
    const memories = new Set<GpuMemory>();
    const later: ((parameters: GPUBuffer) => Command)[][] = [];
    let bytes = 0;
    for (let i = 0; i < launches; i++) {
      const commands: ((parameters: GPUBuffer) => Command)[] = [];
      lower(i, {
        copy(src, from, dst, to, count) {
          memories.add(src).add(dst);
          const whole = Math.ceil(count / 4) * 4;
          commands.push(() => (encoder) => encoder.copy(src.gpu, from, dst.gpu, to, whole));
        },
        dispatch(program, windows, { x, y }, words, fill) {
          for (const { memory } of windows) memories.add(memory);
          const offsets = [bytes] as const;
          const size = Encoder.window(words);
          parts.push({ at: bytes, fill });
          bytes += size;
          commands.push((buffer) => {
            const group = bindGroup(device, program, { buffer, size }, windows);
            const made = pipeline(program);
            return (encoder) => encoder.dispatch(made, group, offsets, x, y);
          });
        },
      });
      later.push(commands);
    }
    const usage = GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST;
    const parameters = device.createBuffer({
      label: 'parameters of a plan',
      size: Math.max(bytes, 4),
      usage,
    });
    const words = new Uint32Array(bytes / 4);
    for (const { at, fill } of parts) fill(words, at / 4);
    device.queue.writeBuffer(parameters, 0, words);
    const commands = later.map((list) => list.map((make) => make(parameters)));
    return { commands, memories, parameters, scratch };
  }

  #release(): void {
    if (!this.#recording) return;
    this.#host.encoder.submit(); // what is pending may read the parameters
    this.#recording.parameters.destroy();
    this.#recording = undefined;
  }

  [Symbol.dispose](): void {
    this.#release();
  }
}
