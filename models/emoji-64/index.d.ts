/** Addresses of the checkpoint's files by path: give it to fromPretrained. */
export declare const emoji64: Readonly<Record<string, URL>>;
/** The subjects that the model knows: nothing else can be drawn with it. */
export declare const subjects: readonly string[];
/** Backgrounds, as in 'a fox on a blue background'; white is the unsaid one. */
export declare const backgrounds: readonly string[];
