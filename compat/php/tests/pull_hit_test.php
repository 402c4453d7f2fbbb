<?php
/**
 * Tests of pull_hit.php.
 *
 *     php compat/php/tests/pull_hit_test.php
 */

require __DIR__ . '/cases.php';

const KEY = '000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f';
const OTHER_KEY = 'f0f1f2f3f4f5f6f7f8f9fafbfcfdfefff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff';

/** The token pullgate would send for this id, $age seconds ago. */
function token($id, $age = 0, $key = KEY)
{
    $t = time() - $age;
    return "t=$t,v1=" . hash_hmac('sha256', "$t.$id", hex2bin($key));
}

/** The hit under test: these headers, these keys in the environment. */
function hit($id, $token, $keys = KEY)
{
    putenv("PULLGATE_TOKEN_KEYS=$keys");
    $_SERVER['HTTP_PULL_USER_ID'] = $id;
    $_SERVER['HTTP_PULL_USER_TOKEN'] = $token;
    require __DIR__ . '/../pull_hit.php';
}

/** $USER of a Bitrix page. */
final class UserStub
{
    private $authorized;

    public function __construct($authorized)
    {
        $this->authorized = $authorized;
    }

    public function IsAuthorized()
    {
        return $this->authorized;
    }
}

/** A Bitrix where handlers are registered; fire() is its OnProlog. */
function bitrix_with_functions()
{
    eval('function AddEventHandler($module, $event, $callback, $sort = 100) {
        $GLOBALS["handlers"][] = [$module, $event, $callback, $sort];
    }');
}

function bitrix_with_event_manager()
{
    eval('namespace Bitrix\Main; class EventManager {
        public static function getInstance() { return new self(); }
        public function addEventHandlerCompatible($module, $event, $callback, $file = false, $sort = 100) {
            $GLOBALS["handlers"][] = [$module, $event, $callback, $sort];
        }
    }');
}

/** What was registered, without the callbacks; runs them. */
function fire()
{
    $registered = [];
    foreach ($GLOBALS['handlers'] as list($module, $event, $callback, $sort)) {
        call_user_func($callback);
        $registered[] = "$module $event $sort";
    }
    return $registered;
}

/** The constant, or null when it is not defined. */
function defined_id()
{
    return defined('PULL_USER_ID') ? PULL_USER_ID : null;
}

/** The keys in the page's script; null when nothing is printed. */
function script_keys()
{
    $script = \Pullgate\guest_script();
    if ($script === '') {
        return null;
    }
    return preg_match('~^<script>[^<]+\((\{[^<]+\})\);</script>\n$~D', $script, $parts) ? json_decode($parts[1], true) : $script;
}

/** Fills the keys in as `pullgate php-hook` does, and requires the result. */
function printed_hook(array $keys)
{
    $source = file_get_contents(__DIR__ . '/../pull_hit.php');
    $marker = '/* pullgate:keys */';
    if (substr_count($source, $marker) !== 1) {
        return 'the marker must stand exactly once';
    }
    $file = tempnam(sys_get_temp_dir(), 'hook');
    file_put_contents($file, str_replace($marker, "'" . implode("', '", $keys) . "'", $source));
    require $file;
    unlink($file);
    return defined_id();
}

/** A header value for every way to get it wrong: none may define the constant or print a word. */
function garbage()
{
    $good = token('-17');
    $ids = [null, '', '17', '0', '-0', '-017', '+17', ' -17', '-17 ', "-17\n", '-1e3', '-2147483648', '-9999999999',
        '-99999999999', '-17,-18', "-17\0", "\xff", [], ['-17'], -17, 1.5, true, new stdClass()];
    $tokens = [null, '', 't=', 't=,v1=', 'v1=' . str_repeat('0', 64), strtoupper($good), "$good\n", " $good", "$good,v1=00",
        substr($good, 0, -1), "$good$good", 't=-1,v1=' . str_repeat('0', 64), 't=9999999999999,v1=' . str_repeat('0', 64),
        str_repeat('a', 100000), "\xff\xfe", [], [[$good]], 0, new stdClass()];
    foreach ($ids as $id) {
        hit($id, is_string($id) ? token($id) : $good);
    }
    foreach ($tokens as $token) {
        hit('-17', $token);
    }
    unset($_SERVER['HTTP_PULL_USER_ID'], $_SERVER['HTTP_PULL_USER_TOKEN']);
    require __DIR__ . '/../pull_hit.php';
    return defined_id();
}

/** name => [expected, the case]. */
$cases = [
    'valid' => [-17, function () {
        hit('-17', token('-17'));
        return defined_id();
    }],
    'guest_id without the constant' => [[-17, -17], function () {
        define('PULL_USER_ID', 7);
        hit('-17', token('-17'));
        return [\Pullgate\guest_id(), \Pullgate\guest_id()];
    }],
    'smallest number' => [-2147483647, function () {
        hit('-2147483647', token('-2147483647'));
        return defined_id();
    }],
    'required twice' => [-17, function () {
        hit('-17', token('-17'));
        hit('-18', token('-18'));
        return defined_id();
    }],
    'token of five minutes ago' => [-17, function () {
        hit('-17', token('-17', 295));
        return defined_id();
    }],
    'old token' => [null, function () {
        hit('-17', token('-17', 310));
        return defined_id();
    }],
    'token a little ahead' => [-17, function () {
        hit('-17', token('-17', -290));
        return defined_id();
    }],
    'future token' => [null, function () {
        hit('-17', token('-17', -310));
        return defined_id();
    }],
    'token of another guest' => [null, function () {
        hit('-17', token('-18'));
        return defined_id();
    }],
    'token of another time' => [null, function () {
        hit('-17', 't=' . (time() - 1) . strstr(token('-17'), ','));
        return defined_id();
    }],
    'wrong key' => [null, function () {
        hit('-17', token('-17', 0, OTHER_KEY));
        return defined_id();
    }],
    'second key' => [-17, function () {
        hit('-17', token('-17', 0, OTHER_KEY), KEY . ', ' . OTHER_KEY);
        return defined_id();
    }],
    'no keys' => [null, function () {
        hit('-17', 't=' . time() . ',v1=' . hash_hmac('sha256', time() . '.-17', ''), '');
        return defined_id();
    }],
    'keys that are none' => [null, function () {
        hit('-17', token('-17', 0, '00'), ',zz,abc,00,' . substr(KEY, 1) . ",,\xff");
        return defined_id();
    }],
    'keys filled in' => [-17, function () {
        putenv('PULLGATE_TOKEN_KEYS=' . OTHER_KEY);
        $_SERVER['HTTP_PULL_USER_ID'] = '-17';
        $_SERVER['HTTP_PULL_USER_TOKEN'] = token('-17');
        return printed_hook([OTHER_KEY, KEY]);
    }],
    'keys filled in outrank the environment' => [null, function () {
        putenv('PULLGATE_TOKEN_KEYS=' . KEY);
        $_SERVER['HTTP_PULL_USER_ID'] = '-17';
        $_SERVER['HTTP_PULL_USER_TOKEN'] = token('-17');
        return printed_hook([OTHER_KEY]);
    }],
    'constant already defined' => [7, function () {
        define('PULL_USER_ID', 7);
        hit('-17', token('-17'));
        return defined_id();
    }],
    'authorised user' => [null, function () {
        $GLOBALS['USER'] = new UserStub(true);
        hit('-17', token('-17'));
        return defined_id();
    }],
    'user who is not authorised' => [-17, function () {
        $GLOBALS['USER'] = new UserStub(false);
        hit('-17', token('-17'));
        return defined_id();
    }],
    '$USER of another sort' => [-17, function () {
        $GLOBALS['USER'] = new stdClass();
        hit('-17', token('-17'));
        return defined_id();
    }],
    'Bitrix' => [[null, ['main OnProlog 2'], -17], function () {
        bitrix_with_functions();
        hit('-17', token('-17'));
        return [defined_id(), fire(), defined_id()];
    }],
    'Bitrix, authorised by OnProlog' => [[['main OnProlog 2'], null], function () {
        bitrix_with_functions();
        hit('-17', token('-17'));
        $GLOBALS['USER'] = new UserStub(true);
        return [fire(), defined_id()];
    }],
    'Bitrix with the event manager only' => [[null, ['main OnProlog 2'], -17], function () {
        bitrix_with_event_manager();
        hit('-17', token('-17'));
        return [defined_id(), fire(), defined_id()];
    }],
    'Bitrix, included while OnProlog is sent' => [[-17, null], function () {
        bitrix_with_functions();
        $GLOBALS['USER'] = new UserStub(false);
        hit('-17', token('-17'));
        return [defined_id(), isset($GLOBALS['handlers']) ? $GLOBALS['handlers'] : null];
    }],
    'Bitrix, included while OnProlog is sent to a user' => [[null, null], function () {
        bitrix_with_functions();
        $GLOBALS['USER'] = new UserStub(true);
        hit('-17', token('-17'));
        return [defined_id(), isset($GLOBALS['handlers']) ? $GLOBALS['handlers'] : null];
    }],
    'whose guests are' => [true, function () {
        hit('-17', token('-17'));
        return \Pullgate\serves_guests();
    }],
    'script' => [['pull_server_enabled' => 'Y', 'pull_guest_mode' => 'Y', 'pull_guest_user_id' => -17], function () {
        hit('-17', token('-17'));
        return script_keys();
    }],
    'script before OnProlog' => [[null, -17], function () {
        bitrix_with_functions();
        hit('-17', token('-17'));
        return [defined_id(), script_keys()['pull_guest_user_id']];
    }],
    'script without a guest' => [null, function () {
        hit('-17', token('-18'));
        return script_keys();
    }],
    'script with a header that tries to be one' => [null, function () {
        hit('-17</script><script>alert(1)//', token('-17</script><script>alert(1)//'));
        return script_keys();
    }],
    'script for an authorised user' => [null, function () {
        $GLOBALS['USER'] = new UserStub(true);
        hit('-17', token('-17'));
        return script_keys();
    }],
    'script where the site says another' => [null, function () {
        define('PULL_USER_ID', 7);
        hit('-17', token('-17'));
        return script_keys();
    }],
    'garbage' => [null, 'garbage'],
];

run_cases(__FILE__, $cases);
