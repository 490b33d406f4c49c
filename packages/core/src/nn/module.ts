// Module: named children and parameters, forward with hooks, state dicts, in-place moves. Property names are the
// checkpoint's key segments (`down_blocks.0.resnets.1.conv1.weight`), so no key is mapped. Beside children a module may
// have attached modules (adapters): they run, move and are traced with it, but checkpoints of the module do not have
// their weights.

import '../dispose-symbol.ts';
import { toAsync } from '../create.ts';
import type { ToOptions } from '../create.ts';
import { activeRecorder } from '../recorder.ts';
import { ArgumentError, DarkroomError, DTypeError, FormatError, formatShape, shorten } from '../errors.ts';
import type { Device } from '../device.ts';
import type { DType } from '../dtype.ts';
import { isFloat } from '../dtype.ts';
import { inModule } from '../module-path.ts';
import { keep, scope } from '../scope.ts';
import { Tensor } from '../tensor.ts';
import { withCallState } from './call-state.ts';
import type { Hook } from './hooks.ts';
import { hostCopyOf, isOnHost, toHost } from './host-weights.ts';

/** An unloaded parameter: an abstract tensor of this shape. Its dtype is whatever gets loaded. */
export function parameter(shape: readonly number[], dtype: DType = 'float32'): Tensor {
  return keep(Tensor.abstract(dtype, shape));
}

/** Which modules a walk gives: all, or those whose weights a checkpoint of the model has. */
export type Which = 'all' | 'checkpoint';

/**
 * A part of a model: parameters (Tensor properties), children (Module properties and arrays of modules), and `forward`.
 * A module owns its parameters. `Args` and `Out` are the types of forward.
 */
export abstract class Module<Args extends readonly unknown[] = never, Out = unknown> {
  readonly #hooks: Hook<Args, Out>[] = [];
  readonly #attached = new Map<string, AnyModule>();

  /** The computation; call `call` instead, which runs hooks and frees intermediates. */
  abstract forward(...args: Args): Out;

  /**
   * Runs forward with its hooks (in the order that Hook states) inside a memory scope; errors name the module.
   * @throws DarkroomError inside a trace when a hook is not traceable; errors of forward and hooks as they are.
   */
  call(...args: Args): Out {
    return inModule(this.name, () => {
      if (this.#hooks.length === 0) return scope(() => this.forward(...args));
      const refused = activeRecorder() && this.#hooks.find((h) => !h.traceable);
      if (refused) {
        throw new DarkroomError(
          `trace: hook '${refused.name}' on ${this.name} cannot run inside a trace; remove it first`,
        );
      }
      return this.#within([...this.#hooks], args);
    });
  }

  /** Runs forward inside these hooks, the first one outermost. */
  #within([hook, ...inner]: readonly Hook<Args, Out>[], args: Args): Out {
    if (!hook) return scope(() => this.forward(...args));
    const input = hook.preForward?.(this, args) ?? args;
    const next = (...given: Args): Out => this.#within(inner, given);
    const output = hook.around
      ? withCallState((state) => scope(() => hook.around!(this, input, next, state)))
      : next(...input);
    return hook.postForward?.(this, output) ?? output;
  }

  /** Last segment of the module's path; its parent sets it. */
  name = '';

  /** Attaches a hook inside those attached before. @throws DarkroomError when one of the same name is attached. */
  addHook(hook: Hook<Args, Out>): void {
    if (this.#hooks.some((h) => h.name === hook.name))
      throw new DarkroomError(`addHook: '${hook.name}' is attached already`);
    this.#hooks.push(hook);
    hook.attach?.(this);
  }
  /** Removes a hook by name; false when there was none. */
  removeHook(name: string): boolean {
    const at = this.#hooks.findIndex((h) => h.name === name);
    if (at < 0) return false;
    const [hook] = this.#hooks.splice(at, 1);
    hook!.detach?.(this);
    return true;
  }

  /** True if a hook acts at calls of this module: before, around or after them, or by bringing weights. */
  get hasCallHooks(): boolean {
    return this.#hooks.some((h) => h.preForward ?? h.around ?? h.postForward ?? h.bringWeights);
  }

  /**
   * Asks hooks to bring the module's weights to the device, as a call would; a replay does so instead of calling the
   * module. `together`: the modules whose weights are needed at the same time.
   */
  bringWeights(together: readonly object[] = [this]): void {
    for (const hook of this.#hooks) hook.bringWeights?.(this, together);
  }
  /** Tells hooks that the module's weights went to host memory. */
  weightsLeft(): void {
    for (const hook of [...this.#hooks]) hook.weightsLeft?.(this);
  }

  /** Direct children by property name, in order of definition; then attached modules. */
  *namedChildren(which: Which = 'all'): Generator<[string, AnyModule]> {
    for (const [key, value] of Object.entries(this)) {
      if (value instanceof Module) {
        value.name = key;
        yield [key, value as AnyModule];
      } else if (Array.isArray(value) && value[0] instanceof Module) {
        for (const [i, child] of (value as AnyModule[]).entries()) {
          child.name = `${key}.${i}`;
          yield [`${key}.${i}`, child];
        }
      }
    }
    if (which === 'all') yield* this.#attached;
  }

  /** Attached modules by path below this one; checkpoints of this module do not have them. */
  protected get attached(): ReadonlyMap<string, AnyModule> {
    return this.#attached;
  }
  /**
   * Attaches `module` under `path`.
   * @throws ArgumentError when the path is in use or `module` is attached elsewhere.
   */
  protected attach(path: string, module: AnyModule): void {
    if (this.#attached.has(path)) throw new ArgumentError(`attach: '${path}' is taken already`);
    if (attachedModules.has(module))
      throw new ArgumentError(
        `attach: the module for '${path}' belongs to another module; make one for each`,
      );
    attachedModules.add(module);
    module.name = path;
    this.#attached.set(path, module);
  }
  /** Detaches a module, whose weights the caller then owns; undefined when `path` has none. */
  protected detach(path: string): AnyModule | undefined {
    const module = this.#attached.get(path);
    if (module) attachedModules.delete(module);
    this.#attached.delete(path);
    return module;
  }

  /** This module and all below, with dotted paths ('' for itself). */
  *namedModules(prefix = '', which: Which = 'all'): Generator<[string, AnyModule]> {
    yield [prefix, this as unknown as AnyModule];
    for (const [key, child] of this.namedChildren(which))
      yield* child.namedModules(prefix ? `${prefix}.${key}` : key, which);
  }

  /** Own parameters only, by property name. */
  *ownParameters(): Generator<[string, Tensor]> {
    for (const [key, value] of Object.entries(this)) if (value instanceof Tensor) yield [key, value];
  }

  /** Parameters with dotted paths. */
  *namedParameters(which: Which = 'all'): Generator<[string, Tensor]> {
    for (const [path, module] of this.namedModules('', which)) {
      for (const [key, value] of module.ownParameters()) yield [path ? `${path}.${key}` : key, value];
    }
  }

  /** All parameters by path, those of adapters included: what a call reads and a trace refers to. */
  parameters(): Map<string, Tensor> {
    return new Map(this.namedParameters());
  }

  /** The parameters that a checkpoint has, by path; the tensors themselves, not copies. */
  stateDict(): Map<string, Tensor> {
    return new Map(this.namedParameters('checkpoint'));
  }

  /**
   * Replaces every parameter of the stateDict. All keys and shapes are checked first: on an error nothing is replaced
   * and the caller still owns `weights`; on success the module owns them. `source` names the file in messages.
   * @throws FormatError listing the missing, extra and wrongly shaped keys.
   */
  loadStateDict(weights: ReadonlyMap<string, Tensor>, source = 'state dict'): void {
    checkStateDict(new Map([...this.stateDict()].map(([k, t]) => [k, t.shape])), weights, source);
    for (const [path, module] of this.namedModules('', 'checkpoint')) {
      for (const [key] of [...module.ownParameters()]) {
        module.setParameter(key, keep(weights.get(path ? `${path}.${key}` : key)!));
      }
    }
  }

  /** Replaces a parameter of this module and disposes the old tensor; `key` is the property's name. */
  setParameter(key: string, value: Tensor): void {
    const fields = this as unknown as Record<string, Tensor>;
    const old = fields[key]!;
    if (old === value) return;
    fields[key] = value;
    const copy = hostCopyOf(old);
    if (copy !== hostCopyOf(value)) copy?.free();
    old.dispose();
  }

  /**
   * Moves or converts every floating parameter in place (others only move); returns this module. Weights in host memory
   * stay there unless a device is named.
   * @throws DTypeError for a parameter that was never loaded.
   */
  async to(options: ToOptions): Promise<this> {
    for (const [, module] of this.namedModules()) {
      for (const [key, value] of [...module.ownParameters()]) {
        const copy = hostCopyOf(value);
        if (value.isAbstract && !copy)
          throw new DTypeError(`to: parameter ${key} of ${module.name} was never loaded`);
        const { dtype, ...rest } = options;
        const wanted = isFloat(value.dtype) && dtype ? { ...rest, dtype } : rest;
        if (!value.isAbstract) module.setParameter(key, keep(await toAsync(value, wanted)));
        else {
          const loaded = copy!.load();
          const moved = keep(await toAsync(loaded, wanted));
          module.setParameter(key, options.device ? moved : await toHost(moved));
          loaded.dispose();
          if (!options.device) moved.dispose();
        }
      }
    }
    return this;
  }

  /** Moves every parameter to host memory; hooks (offload) or `to({ device })` bring it back. */
  async toHost(): Promise<this> {
    for (const [, module] of this.namedModules()) {
      for (const [key, value] of [...module.ownParameters()])
        if (!value.isAbstract)
          module.setParameter(key, hostCopyOf(value)?.placeholder() ?? (await toHost(value)));
      module.weightsLeft();
    }
    return this;
  }

  /** True if the module's weights are in host memory; undefined for a module without parameters. */
  get isOnHost(): boolean | undefined {
    for (const [, p] of this.namedParameters()) return isOnHost(p);
    return undefined;
  }

  /** The device of the first parameter; undefined before loading. */
  get device(): Device | undefined {
    for (const [, p] of this.namedParameters()) return p.deviceOrNone;
    return undefined;
  }
  /** The dtype of the first floating parameter; float32 where there is none. */
  get dtype(): DType {
    for (const [, p] of this.namedParameters()) if (isFloat(p.dtype)) return p.dtype;
    return 'float32';
  }

  /** Size of all parameters in bytes. */
  get bytes(): number {
    let n = 0;
    for (const [, p] of this.namedParameters()) n += p.bytes;
    return n;
  }

  /** Frees every parameter, on the device and in host memory. */
  dispose(): void {
    for (const [, p] of this.namedParameters()) {
      hostCopyOf(p)?.free();
      p.dispose();
    }
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Modules that are attached: a module is attached once at most, since its hooks and path belong to that place. */
const attachedModules = new WeakSet<AnyModule>();

/** A module of any signature. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- children have any signature; only the base is used
export type AnyModule = Module<any, any>;

/** Compares keys and shapes. @throws one FormatError listing the missing, extra and wrongly shaped keys. */
export function checkStateDict(
  wanted: ReadonlyMap<string, readonly number[]>,
  given: ReadonlyMap<string, { readonly shape: readonly number[] }>,
  source: string,
): void {
  const missing = [...wanted.keys()].filter((k) => !given.has(k));
  const extra = [...given.keys()].filter((k) => !wanted.has(k)).map((k) => shorten(k));
  const wrong: string[] = [];
  for (const [key, shape] of wanted) {
    const got = given.get(key)?.shape;
    if (got && formatShape(got) !== formatShape(shape)) {
      wrong.push(`${key} is ${shorten(formatShape(got))} but the model has ${formatShape(shape)}`);
    }
  }
  if (missing.length + extra.length + wrong.length === 0) return;
  const list = (what: string, keys: readonly string[]): string =>
    keys.length === 0
      ? ''
      : `; ${keys.length} ${what}: ${keys.slice(0, 5).join(', ')}${keys.length > 5 ? ', …' : ''}`;
  throw new FormatError(
    `${source}: weights do not fit the model${list('missing', missing)}${list('unexpected', extra)}${list('of a wrong shape', wrong)}`,
  );
}
