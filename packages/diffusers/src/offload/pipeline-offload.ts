// Offload of one pipeline: the policy that it enabled, and policies that other pipelines enabled on the same modules.

import { ArgumentError } from '@darkroom/core';
import { ModelOffload } from './model.ts';
import { policiesOf, replayNeedsAll } from './policy.ts';
import type { Components, OffloadPolicy } from './policy.ts';
import { SequentialOffload, sequentialSettings } from './sequential.ts';
import type { SequentialOffloadOptions } from './sequential.ts';

/** The offload of a pipeline's components. */
export class PipelineOffload {
  readonly #components: () => Components;
  #own: OffloadPolicy | undefined;

  /** `components` returns the pipeline's current components. */
  constructor(components: () => Components) {
    this.#components = components;
  }

  enableModel(): void {
    this.#enable('enableModelCpuOffload', 'disableModelCpuOffload()', '', (components) => {
      return new ModelOffload(components, this);
    });
  }

  enableSequential(options: SequentialOffloadOptions): void {
    const undo = 'disableSequentialCpuOffload()';
    this.#enable('enableSequentialCpuOffload', undo, sequentialSettings(options), (components) => {
      return new SequentialOffload(components, options, this);
    });
  }

  /** Joins the policy that another pipeline enabled on the same modules; else makes one. */
  #enable(
    call: string,
    undo: string,
    settings: string,
    make: (components: Components) => OffloadPolicy,
  ): void {
    if (this.#own)
      throw new ArgumentError(`${call}: offload is enabled already; call ${this.#own.undo} first`);
    const components = this.#components();
    const [carried, ...others] = policiesOf(components);
    if (!carried) {
      this.#own = make(components);
      return;
    }
    if (others.length > 0 || carried.undo !== undo || carried.settings !== settings) {
      const under =
        others.length > 0 ? 'the offload of several pipelines' : 'the offload of another pipeline';
      const difference = carried.undo === undo ? ` with ${carried.settings}, not ${settings}` : '';
      throw new ArgumentError(
        `${call}: modules of this pipeline are under ${under}${difference}; call ${carried.undo} there first`,
      );
    }
    carried.join(this, components);
    this.#own = carried;
  }

  /** Ends the policy that this pipeline enabled, if `undo` is its undo call or undefined. */
  disable(undo?: string): void {
    if (!this.#own || (undo !== undefined && this.#own.undo !== undo)) return;
    this.#own.leave(this);
    this.#own = undefined;
  }

  get #policies(): ReadonlySet<OffloadPolicy> {
    const policies = new Set(policiesOf(this.#components()));
    if (this.#own) policies.add(this.#own);
    return policies;
  }

  /** The call that ends the offload of these modules, for messages; undefined without offload. */
  get remedy(): string | undefined {
    if (this.#own) return `call ${this.#own.undo} first`;
    const [carried] = this.#policies;
    return carried && `call ${carried.undo} on the pipeline that enabled it first`;
  }

  /** @throws ArgumentError under sequential offload, which loads weights layer by layer: a replay needs all at once. */
  refuseLayers(call: string): void {
    if ([...this.#policies].some((policy) => policy.byLayers)) throw replayNeedsAll(call, this.remedy!);
  }

  /** Starts a call; finish() of the result ends it, even if the pipeline's components changed meanwhile. */
  begin(): { readonly ready: Promise<void>; finish(): void } {
    const policies = [...this.#policies];
    const components = this.#components();
    const ready = Promise.all(policies.map((policy) => policy.begin(this, components)));
    return {
      ready: ready.then(() => undefined),
      finish: () => {
        for (const policy of policies) policy.finish();
      },
    };
  }
}
