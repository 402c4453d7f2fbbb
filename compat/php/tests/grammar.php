<?php
/**
 * Finds what PHP 7.2 does not understand, with a PHP that does:
 *
 *     php compat/php/tests/grammar.php FILE...
 *
 * It reads tokens, so it knows the grammar as far as the patterns below go: each stands for a novelty of
 * 7.3 to 8.4 and comes with a line that has it. Without files it tries those lines.
 */

/** novelty => [a pattern over the tokens, as written() spells them, a line that has it, one that does not]. */
const NOVELTIES = [
    'arrow function' => ['/ fn /', '$f = fn($x) => $x;', '$f = function ($x) { return $x; };'],
    'match' => ['/ match \(/', '$a = match(1) { 1 => 2 };', '$a = $o->matches(1);'],
    '?->' => ['/ \?-> /', '$a?->b;', '$a ? -1 : 1;'],
    '??=' => ['/ \?\?= /', '$a ??= 1;', '$a = $b ?? 1;'],
    'attribute' => ['/ #\[/', "#[A]\nclass B {}", '# [A]'],
    'enum, readonly' => ['/ (enum|readonly) ID | readonly /', 'enum A {}', '$enum = A::ENUM;'],
    'typed property' => [
        '/ (public|protected|private|var|static)( static)?( \?)?( \\\\)? (ID|array)( \\\\ ID)* VARIABLE/',
        'class A { private ?int $b; }', 'class A { private static $b; public function c(int $d) {} }',
    ],
    'promoted property' => [
        '/ [(,] (public|protected|private)/', 'class A { function __construct(private $b) {} }', 'class A { private function b() {} }',
    ],
    'typed constant' => ['/ const( \?)? (ID|array) ID /', 'class A { const int B = 1; }', 'class A { const B = 1; }'],
    'comma behind the last argument' => ['/ , \)/', 'f(1, );', '$a = [1, ]; $b = array(1, ); list($c, ) = $a;'],
    'named argument' => ['/ [(,] ID : /', 'f(a: 1);', 'f($a ? B : C, X::Y);'],
    'spread in an array' => ['/( \[| \[ [^\[\]();]* ,) \.\.\. /', '$a = [1, ...$b];', 'f([1], ...$b);'],
    'first-class callable' => ['/ \( \.\.\. \)/', '$f = g(...);', 'function g(...$a) {}'],
    'throw in an expression' => ['/ (\?\?|\?|:|&&|\|\||=|=>|return|,|\() throw /', '$a = $b ?? throw $c;', 'if ($a) { throw $b; }'],
    'catch without a variable' => ['/ catch \( [^)]*ID \)/', 'try {} catch (E) {}', 'try {} catch (A | B $e) {}'],
    'class of an object' => ['/ (VARIABLE|\)) :: class /', '$a::class;', 'A::class;'],
    'union of types' => [
        '/ function( &)?( ID)? \((([^=()]* [(,])? (ID|array) \| |[^{};]*\) : (ID|array) [|&] )/',
        'function a(B|C $d) {}', 'function a($b = C | D) {} try {} catch (A | B $e) {}',
    ],
    'type of 8.0 and later' => [
        '/ function( &)?( ID)? \([^{};]*\) :( \?)? (static|mixed|never|false|true|null) [{;]/', 'function a(): static {}',
        'function a(): self { return f() ? $b : null; }',
    ],
    'separator in a number' => ['/ NEWNUMBER /', '$a = 1_000;', '$a = 1000;'],
    'indented end of heredoc' => ['/ INDENTED_END /', "\$a = <<<E\n  b\n  E;\n", "\$a = <<<E\n  b\nE;\n"],
    'new in a default value' => ['/ function( ID)? \([^)]* = new /', 'function a($b = new C()) {}', '$a = new C();'],
    'function or constant' => [
        '/ (str_contains|str_starts_with|str_ends_with|array_key_first|array_key_last|array_is_list|array_find|array_any|array_all'
        . '|is_countable|hrtime|mb_str_split|get_debug_type|get_mangled_object_vars|password_algos|fdiv|fsync|json_validate'
        . '|net_get_interfaces|JSON_THROW_ON_ERROR|Stringable|WeakMap|JsonException) /',
        'str_contains("a", "b");', '$o->STR = strpos("a", "b");',
    ],
];

/** The tokens as a line, a blank around each: names are ID, the rest is itself or a word of the patterns. */
function written($source)
{
    $known = '/^(fn|match|enum|readonly|public|protected|private|var|static|const|array|class|function|throw|catch|return|new|self'
        . '|mixed|never|false|true|null)$/i';
    $line = ' ';
    $lists = []; // for every open parenthesis, whether it is array( or list(
    $before = null;
    foreach (token_get_all($source) as $token) {
        list($id, $text) = is_array($token) ? $token : [null, $token];
        $words = [
            T_VARIABLE => 'VARIABLE', T_CONSTANT_ENCAPSED_STRING => 'STRING', T_INLINE_HTML => 'HTML', T_ENCAPSED_AND_WHITESPACE => 'TEXT',
            T_LNUMBER => preg_match('/_|^0o/i', $text) ? 'NEWNUMBER' : 'NUMBER', T_DNUMBER => strpos($text, '_') ? 'NEWNUMBER' : 'NUMBER',
            T_END_HEREDOC => preg_match('/^\s/', $text) ? 'INDENTED_END' : 'END',
        ];
        if (in_array($id, [T_WHITESPACE, T_COMMENT, T_DOC_COMMENT, T_OPEN_TAG], true)) {
            continue;
        }
        if (isset($words[$id])) {
            $text = $words[$id];
        } elseif (preg_match('/^[\\\\\w]+$/', $text)) {
            $bare = ltrim($text, '\\');
            $new = preg_match(NOVELTIES['function or constant'][0], " $bare ") && $before !== '->' && $before !== '::';
            $keyword = $id !== T_STRING || preg_match('/^(enum|readonly|mixed|never|false|true|null)$/i', $text);
            $text = $new ? $bare : ($keyword && preg_match($known, $text) ? strtolower($text) : $text);
            $text = $id === T_STRING && !$new && !$keyword || strpos($text, '\\') !== false ? 'ID' : $text;
        } elseif ($text === '(') {
            $lists[] = in_array($before, ['array', 'list'], true);
        } elseif ($text === ')' && array_pop($lists) && $before === ',') {
            $line = substr($line, 0, -2); // array(1,) is old
        }
        $line .= "$text ";
        $before = $text;
    }
    return $line;
}

/** The novelties in a source. */
function novelties($source)
{
    $line = written($source);
    return array_keys(array_filter(NOVELTIES, function ($novelty) use ($line) {
        return preg_match($novelty[0], $line) === 1;
    }));
}

$failed = false;
foreach (array_slice($argv, 1) as $file) {
    foreach (novelties(file_get_contents($file)) as $name) {
        echo "$file: PHP 7.2 has no such thing: $name\n";
        $failed = true;
    }
}
foreach ($argc > 1 ? [] : NOVELTIES as $name => list(, $has, $hasNot)) {
    if (novelties("<?php\n$has") !== [$name] || novelties("<?php\n$hasNot") !== []) {
        echo "FAILED $name: ", json_encode([novelties("<?php\n$has"), novelties("<?php\n$hasNot")]), written("<?php\n$has"), "\n";
        $failed = true;
    }
}
exit($failed ? 1 : 0);
