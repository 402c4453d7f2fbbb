<?php
/**
 * Tests of Stack.php, and of Guest.php with Bitrix, against the stub of the module in fixtures/bitrix-stub
 * and a recorder of requests.
 *
 *     php compat/php/tests/stack_test.php
 */

use Pullgate\Guest;

require __DIR__ . '/cases.php';
require __DIR__ . '/recorded.php';

const MESSAGE = ['module_id' => 'shop', 'command' => 'hello', 'params' => ['a' => 1], 'expiry' => 60];

/** Bitrix with this version of the module and users 42 and 43, of which nothing stays. */
function bitrix($version = '26.250')
{
    $state = tempnam(sys_get_temp_dir(), 'channels');
    register_shutdown_function('unlink', $state);
    putenv("BITRIX_STUB_STATE=$state");
    putenv("BITRIX_STUB_PULL=$version");
    putenv('BITRIX_STUB_USERS=42,43');
    require __DIR__ . '/../../../fixtures/bitrix-stub/bitrix.php';
    CModule::IncludeModule('pull');
}

/** The files of the site, as the docs have them required. */
function site()
{
    require_once __DIR__ . '/../pull_hit.php';
    require_once __DIR__ . '/../Guest.php';
    require_once __DIR__ . '/../Stack.php';
}

/** The same with a hook that pullgate printed where [guest.push] is off. */
function site_whose_module_serves_guests()
{
    $hook = tempnam(sys_get_temp_dir(), 'hook');
    register_shutdown_function('unlink', $hook);
    file_put_contents($hook, str_replace('true /* pullgate:push */', 'false', file_get_contents(__DIR__ . '/../pull_hit.php')));
    require $hook;
    site();
}

/** Who was sent to: numbers, and the users and guests whose channels were named. */
function recipients(Recorded $recorder)
{
    $owners = [];
    $state = getenv('BITRIX_STUB_STATE');
    foreach ($state ? json_decode(file_get_contents($state), true) ?: [] : [] as $number => $channel) {
        $owners[$channel['CHANNEL_ID']] = $number;
    }
    return array_map(function ($line) use ($owners) {
        preg_match_all('/(USER_ID|CHANNEL_ID)=([^ &]+)/', $line, $parts, PREG_SET_ORDER);
        return implode(' ', array_map(function ($part) use ($owners) {
            $whom = explode('/', $part[2]);
            return $part[1] . ' ' . implode('/', $part[1] === 'USER_ID' ? $whom : array_map(function ($id) use ($owners) {
                return $owners[$id];
            }, $whom));
        }, $parts));
    }, $recorder->lines());
}

$cases = [
    'the module of today drops a guest\'s message' => [[true, true, []], function () {
        $recorder = new Recorded(['200']);
        bitrix();
        return [CPullStack::AddByUser(-17, MESSAGE), CPullStack::AddByUsers([-17, -18], MESSAGE), recipients($recorder)];
    }],
    'the module of 24.500 does not' => [[true, true, ['CHANNEL_ID -17', 'CHANNEL_ID -17/-18']], function () {
        $recorder = new Recorded(['200']);
        bitrix('24.500');
        return [CPullStack::AddByUser(-17, MESSAGE), CPullStack::AddByUsers([-17, -18], MESSAGE), recipients($recorder)];
    }],
    'required before the module is included' => [[true, ['USER_ID -17'], true, 'CAllPullStack', ''], function () {
        $recorder = new Recorded(['200']);
        site();
        bitrix();
        return [CPullStack::AddByUser(-17, MESSAGE), recipients($recorder), CModule::IncludeModule('pull'),
            get_parent_class('CPullStack'), Guest::lastError()];
    }],
    'required behind the module' => [[true, ['USER_ID -17'], 'CAllPullStack', ''], function () {
        $recorder = new Recorded(['200']);
        bitrix();
        site();
        return [CPullStack::AddByUser(-17, MESSAGE), recipients($recorder), get_parent_class('CPullStack'), Guest::lastError()];
    }],
    'with a backslash, in any case, from another module' => [[true, true, true, ['USER_ID -17', 'USER_ID -18', 'USER_ID -19']], function () {
        $recorder = new Recorded(['200']);
        bitrix();
        site();
        eval('namespace Other\Module; class Sender { public static function send() {
            return \CPullStack::AddByUser(-19, MESSAGE);
        } }');
        return [\CPullStack::AddByUser(-17, MESSAGE), \cpullstack::addByUser('-18', MESSAGE), \Other\Module\Sender::send(),
            recipients($recorder)];
    }],
    'required too late' => [[true, true, true, 'CPullStack'], function () {
        $log = tempnam(sys_get_temp_dir(), 'log');
        register_shutdown_function('unlink', $log);
        ini_set('error_log', $log);
        new Recorded(['200']);
        bitrix();
        CPullStack::AddByUser(42, MESSAGE);
        site();
        $error = Guest::lastError();
        return [strpos($error, 'before Stack.php') !== false, strpos($error, 'mysql/pull_stack.php') !== false,
            strpos(file_get_contents($log), $error) !== false, (new ReflectionClass('CPullStack'))->getName()];
    }],
    'required too late, with a log of the site\'s' => [[true, ''], function () {
        $log = tempnam(sys_get_temp_dir(), 'log');
        register_shutdown_function('unlink', $log);
        ini_set('error_log', $log);
        define('LOG_FILENAME', '/any');
        eval('function AddMessage2Log($text, $module) { $GLOBALS["logged"] = "$module: $text"; }');
        bitrix();
        class_exists('CPullStack');
        site();
        return [$GLOBALS['logged'] === 'pullgate: ' . Guest::lastError(), file_get_contents($log)];
    }],
    'required too late, one file can do without' => [[true, ['USER_ID -17']], function () {
        ini_set('error_log', '/dev/null');
        $recorder = new Recorded(['200']);
        bitrix();
        class_exists('CPullStack');
        site();
        return [\Pullgate\Stack::AddByUser(-17, MESSAGE), recipients($recorder)];
    }],
    'guests are the module\'s where guest.push is off' => [[true, ['CHANNEL_ID -17'], ''], function () {
        $recorder = new Recorded(['200']);
        bitrix('24.500');
        site_whose_module_serves_guests();
        return [CPullStack::AddByUser(-17, MESSAGE), recipients($recorder), Guest::lastError()];
    }],
    'no module, no class' => [[false, false], function () {
        site();
        return [class_exists('CPullStack'), class_exists('Pullgate\Stack')];
    }],
    'one guest' => [[true, true, ['USER_ID -17', 'USER_ID -18'], '60'], function () {
        $recorder = new Recorded(['200']);
        bitrix();
        site();
        return [CPullStack::AddByUser(-17, MESSAGE), CPullStack::AddByUser('-18', MESSAGE), recipients($recorder),
            $recorder->requests()[0]['headers']['message-expiry']];
    }],
    'the same body from both' => [true, function () {
        $recorder = new Recorded(['200']);
        bitrix('24.500');
        site();
        CPullStack::AddByUser(-17, MESSAGE);
        \Bitrix\Pull\Event::add(-17, MESSAGE);
        list($ours, $theirs) = array_map(function ($body) {
            unset($body['extra']['server_time'], $body['extra']['server_time_unix']);
            return $body;
        }, $recorder->bodies());
        return $ours === $theirs;
    }],
    'users alone' => [[true, true, ['CHANNEL_ID 42', 'CHANNEL_ID 42/43']], function () {
        $recorder = new Recorded(['200']);
        bitrix();
        site();
        return [CPullStack::AddByUser(42, MESSAGE), CPullStack::AddByUsers([42, '43'], MESSAGE), recipients($recorder)];
    }],
    'users and guests' => [[true, ['CHANNEL_ID 42/43', 'USER_ID -17/-18']], function () {
        $recorder = new Recorded(['200']);
        bitrix();
        site();
        return [CPullStack::AddByUsers([42, -17, 'x' => '43', 'y' => '-18', -17], MESSAGE), recipients($recorder)];
    }],
    'everybody, by one message to both' => [[true, ['USER_ID 0 CHANNEL_ID 0']], function () {
        $recorder = new Recorded(['200']);
        bitrix();
        site();
        return [CPullStack::AddShared(MESSAGE), recipients($recorder)];
    }],
    'arguments go to the module as they came' => [
        [
            ['AddByUser', [42, MESSAGE, 'type', 'more']], ['AddByUser', [[], null]], ['AddByUsers', ['-17', MESSAGE]],
            ['AddByUsers', [['k' => 42], MESSAGE, 'type']], ['AddByUsers', [['k' => 42, 2 => str_repeat('a', 32)], MESSAGE, 'type']],
            ['AddShared', [MESSAGE, 'type']], ['AddByChannel', ['c', MESSAGE]],
        ],
        function () {
            new Recorded(['200']);
            eval('class CAllPullStack {
                static function AddByUser($userId, $message, $type = "t") { return self::called("AddByUser", func_get_args()); }
                static function AddByUsers($users, $message, $type = "t") { return self::called("AddByUsers", func_get_args()); }
                static function AddShared($message, $type = "t") { return self::called("AddShared", func_get_args()); }
                static function AddByChannel($id, $message) { return self::called("AddByChannel", func_get_args()); }
                private static function called($name, $arguments) {
                    $GLOBALS["calls"][] = [$name, $arguments];
                    return true;
                }
            }');
            site();
            CPullStack::AddByUser(42, MESSAGE, 'type', 'more');
            CPullStack::AddByUser([], null);
            CPullStack::AddByUsers('-17', MESSAGE);
            CPullStack::AddByUsers(['k' => 42], MESSAGE, 'type');
            CPullStack::AddByUsers(['k' => 42, -17, 2 => str_repeat('a', 32)], MESSAGE, 'type');
            CPullStack::AddShared(MESSAGE, 'type');
            CPullStack::AddByChannel('c', MESSAGE);
            return $GLOBALS['calls'];
        },
    ],
    'everybody, where the module has no shared channel' => [[true, ['USER_ID 0'], 1], function () {
        $recorder = new Recorded(['200']);
        eval('class CAllPullStack { static function AddShared($message, $type = "t") { $GLOBALS["calls"][] = $type; return true; } }');
        site();
        return [CPullStack::AddShared(MESSAGE), recipients($recorder), count($GLOBALS['calls'])];
    }],
    'one of two senders fails' => [[false, false, 2], function () {
        $recorder = new Recorded(['500', '200', '200', '500']);
        bitrix();
        site();
        return [CPullStack::AddByUsers([42, -17], MESSAGE), CPullStack::AddByUsers([42, -17], MESSAGE),
            count(array_keys(recipients($recorder), 'USER_ID -17', true))];
    }],
    'no message' => [[false, 'the message has no command', false, false, false], function () {
        new Recorded(['200']);
        bitrix();
        site();
        return [CPullStack::AddByUser(-17, ['module_id' => 'm']), Guest::lastError(), CPullStack::AddByUser(-17, null),
            CPullStack::AddByUsers([42, -17], []), CPullStack::AddShared([])];
    }],
    'a number too large for a guest' => [[false, true], function () {
        $recorder = new Recorded(['200']);
        bitrix();
        site();
        return [CPullStack::AddByUser('-2147483648', MESSAGE), recipients($recorder) === []];
    }],
    'Bitrix encodes the body, and knows the name' => ['["by Bitrix","main.server_name","\u0023!NGINXNME!#"]', function () {
        site();
        eval('namespace Bitrix\Main\Web; class Json { public static function encode($value) {
            return json_encode(["by Bitrix", $value["extra"]["server_name"], "#!NGINXNME!#"]);
        } }');
        eval('class COption { public static function GetOptionString($module, $name, $default) { return "$module.$name"; } }');
        $recorder = new Recorded(['200']);
        Guest::send([-17], MESSAGE);
        return $recorder->requests()[0]['body'];
    }],
    'Bitrix cannot encode it' => ['the message: bad', function () {
        site();
        eval('namespace Bitrix\Main\Web; class Json { public static function encode($value) { throw new \Exception("bad"); } }');
        try {
            return Guest::send([-17], MESSAGE);
        } catch (InvalidArgumentException $error) {
            return $error->getMessage();
        }
    }],
    'login finds the user\'s channel' => [[true, true], function () {
        $recorder = new Recorded(['200']);
        bitrix();
        site();
        $told = Guest::login(-17, 42);
        $channel = \CPullChannel::Get(42)['CHANNEL_ID'];
        return [$told, $recorder->lines() === ["POST /pullgate/login?guest=-17&channel=$channel HTTP/1.0"]];
    }],
    'login of a user without a channel' => [[false, 'the pull module has no channel for user 7', []], function () {
        $recorder = new Recorded(['200']);
        bitrix();
        site();
        return [Guest::login(-17, 7), Guest::lastError(), $recorder->lines()];
    }],
];

run_cases(__FILE__, $cases);
