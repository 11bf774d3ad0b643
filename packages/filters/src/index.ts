/**
 * containerd's filter language.
 *
 * A filter is a list of selectors joined by `,`, all of which must hold: `name==foo`, `labels."containerd.io/gc.root"`,
 * `topic~=|^/tasks/|`, `parent!=""`. Several filters are alternatives.
 */
export { type FieldAdaptor, type Matcher, parseFilters } from './filter.js'
export { fieldOfLabels } from './labels.js'
