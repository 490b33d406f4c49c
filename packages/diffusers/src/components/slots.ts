// The declaration of a pipeline's components: folder, role, and whether a component is optional.

/** A component's role in its pipeline: memory switches and traces select components by it. */
export type ComponentRole = 'denoiser' | 'vae' | 'textEncoder' | 'tokenizer' | 'scheduler' | 'other';

/** The place of a component in a pipeline. */
export interface ComponentSlot {
  /** Folder of the component, and its key in model_index.json. */
  readonly folder: string;
  readonly role: ComponentRole;
  /** True: the pipeline works without it, and model_index.json may name [null, null] or nothing. */
  readonly optional?: boolean;
}

/** Slots by the name of the pipeline's property, in the order of saving. */
export type ComponentSlots<C = Record<string, unknown>> = {
  readonly [K in keyof C & string]-?: ComponentSlot;
};

/** Components of Python's pipelines that are never loaded from a folder. */
export const leftOut: ReadonlySet<string> = new Set(['safety_checker', 'feature_extractor', 'image_encoder']);
