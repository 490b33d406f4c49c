// Compiled pipelines by shader text. A program is compiled when it is first run, or ahead of that, all at once and
// asynchronously, by `ready`.

import { DeviceError } from '@darkroom/core';
import type { ProgramSource } from '../wgsl.ts';
import type { Faults } from './faults.ts';

export interface Program {
  readonly source: ProgramSource;
  readonly layout: GPUBindGroupLayout;
  pipeline: GPUComputePipeline | undefined;
  /** True once the pipeline was requested to run. */
  ran: boolean;
  /** The error of a refused shader, which every use throws again. */
  refused: DeviceError | undefined;
}

export class Programs {
  readonly #device: GPUDevice;
  readonly #faults: Faults;
  readonly #programs = new Map<string, Program>();
  readonly #layouts = new Map<string, { group: GPUBindGroupLayout; pipeline: GPUPipelineLayout }>();
  readonly #waiting = new Set<Program>();
  #firstRuns = 0;

  constructor(device: GPUDevice, faults: Faults) {
    this.#device = device;
    this.#faults = faults;
  }

  /** Number of distinct shaders requested so far. */
  get count(): number {
    return this.#programs.size;
  }

  /** Number of shaders that are compiled. */
  get compiled(): number {
    return this.#programs.size - this.#waiting.size;
  }

  /** Number of shaders that ran at least once, when drivers may compile for the device. */
  get firstRuns(): number {
    return this.#firstRuns;
  }

  of(source: ProgramSource): Program {
    const key = `${source.signature}\n${source.code}`;
    let program = this.#programs.get(key);
    if (!program) {
      program = {
        source,
        layout: this.#layout(source.signature).group,
        pipeline: undefined,
        ran: false,
        refused: undefined,
      };
      this.#programs.set(key, program);
      this.#waiting.add(program);
    }
    return program;
  }

  /**
   * The pipeline to run, compiled now if it was not before; what is wrong with its shader is reported with its label.
   */
  pipeline(program: Program): GPUComputePipeline {
    if (program.refused) throw program.refused;
    if (!program.pipeline) {
      this.#waiting.delete(program);
      program.pipeline = this.#faults.watch(
        this.#device,
        'validation',
        () => this.#device.createComputePipeline(this.#descriptor(program)),
        (message) => refuse(program, message),
      );
    }
    if (!program.ran) this.#firstRuns++;
    program.ran = true;
    return program.pipeline;
  }

  /** Compiles all requested shaders. @throws DeviceError naming a kernel that does not compile. */
  async ready(): Promise<void> {
    await Promise.all(
      [...this.#waiting].map(async (program) => {
        try {
          const pipeline = await this.#device.createComputePipelineAsync(this.#descriptor(program));
          program.pipeline ??= pipeline;
          this.#waiting.delete(program);
        } catch (error) {
          throw refuse(program, (error as Error).message);
        }
      }),
    );
  }

  #descriptor({ source }: Program): GPUComputePipelineDescriptor {
    const { label, code, signature } = source;
    const module = this.#device.createShaderModule({ label, code });
    return { label, layout: this.#layout(signature).pipeline, compute: { module, entryPoint: 'main' } };
  }

  #layout(signature: string): { group: GPUBindGroupLayout; pipeline: GPUPipelineLayout } {
    let layout = this.#layouts.get(signature);
    if (!layout) {
      const visibility = GPUShaderStage.COMPUTE;
      const storage = [...signature].map((use, i): GPUBindGroupLayoutEntry => ({
        binding: i + 1,
        visibility,
        buffer: { type: use === 'r' ? 'read-only-storage' : 'storage' },
      }));
      const group = this.#device.createBindGroupLayout({
        entries: [
          { binding: 0, visibility, buffer: { type: 'uniform', hasDynamicOffset: true } },
          ...storage,
        ],
      });
      layout = { group, pipeline: this.#device.createPipelineLayout({ bindGroupLayouts: [group] }) };
      this.#layouts.set(signature, layout);
    }
    return layout;
  }
}

function refuse(program: Program, message: string): DeviceError {
  return (program.refused = new DeviceError(`webgpu: ${program.source.label} does not compile: ${message}`));
}
